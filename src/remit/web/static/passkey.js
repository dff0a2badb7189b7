// Passkeys: what the server offers goes to the device, and what the device answers goes back. Nothing is decided here.
async function sent(path, fields) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams(fields),
  });
  if (!answer.ok) throw new Error(await why(answer));
  return answer.json();
}

async function why(answer) {
  try {
    const told = await answer.json();
    return `${told.detail}. ${told.hint}`;
  } catch {
    return `Remit refused it (${answer.status}).`;
  }
}

function served(id, ceremony) {
  const form = document.getElementById(id);
  if (!form) return;
  const alert = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    alert.hidden = true;
    try {
      const fields = Object.fromEntries(new FormData(form));
      const credential = await ceremony(await sent(form.dataset.options, fields));
      const { next } = await sent(form.getAttribute("action"), { ...fields, credential: JSON.stringify(credential) });
      location.assign(next);
    } catch (error) {
      alert.textContent = error.name === "NotAllowedError" ? "Nothing was chosen, or it took too long. Try again." : error.message;
      alert.hidden = false;
    }
  });
}

served("new-passkey", (options) =>
  navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }));
served("old-passkey", (options) =>
  navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }));
