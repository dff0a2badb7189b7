// The secret of a link stands behind the number sign, which a browser sends nowhere by itself.
const secret = location.hash.slice(1);
if (secret) {
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector("input[name=secret]").value = secret;
  document.getElementById("by-link").hidden = false;
  document.getElementById("no-link").hidden = true;
}
