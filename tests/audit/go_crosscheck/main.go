// Checks what Remit wrote with golang.org/x/mod/sumdb/{note,tlog}: an implementation that shares no line with ours.
//
// Input on stdin: one JSON document. Output: one JSON document that says, for each item, "ok" or what is wrong.
// With "sign" in the input it also signs a text, which is how the golden note in tests/vectors was made.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type input struct {
	Key         string   `json:"key"`
	Checkpoint  string   `json:"checkpoint"`
	Leaves      [][]byte `json:"leaves"`
	Inclusion   []proof  `json:"inclusion"`
	Consistency []proof  `json:"consistency"`
	Tiles       []tile   `json:"tiles"`
	Roots       []int64  `json:"roots"`
	Sign        *sign    `json:"sign"`
}

type proof struct {
	Index int64    `json:"index"`
	Old   int64    `json:"old"`
	Size  int64    `json:"size"`
	Path  [][]byte `json:"path"`
}

type tile struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
}

type sign struct {
	Secret string `json:"secret"`
	Text   string `json:"text"`
}

type output struct {
	Checkpoint  string            `json:"checkpoint"`
	Inclusion   []string          `json:"inclusion"`
	Consistency []string          `json:"consistency"`
	Tiles       []string          `json:"tiles"`
	Roots       map[string][]byte `json:"roots"`
	Signed      string            `json:"signed"`
}

type store []tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= int64(len(s)) {
			return nil, fmt.Errorf("no stored hash %d", at)
		}
		out[i] = s[at]
	}
	return out, nil
}

func verdict(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func hashes(path [][]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(path))
	for i, one := range path {
		copy(out[i][:], one)
	}
	return out
}

func checkpoint(in input, s store) error {
	verifier, err := note.NewVerifier(in.Key)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(in.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size != int64(len(in.Leaves)) {
		return fmt.Errorf("size %s is not %d", lines[1], len(in.Leaves))
	}
	root, err := tlog.TreeHash(size, s)
	if err != nil {
		return err
	}
	if base64.StdEncoding.EncodeToString(root[:]) != lines[2] {
		return fmt.Errorf("root differs")
	}
	return nil
}

func checkTile(t tile, s store) error {
	// Go's own paths name the tile height, C2SP's do not.
	parsed, err := tlog.ParseTilePath(strings.Replace(t.Path, "tile/", "tile/8/", 1))
	if err != nil {
		return err
	}
	data, err := tlog.ReadTileData(parsed, s)
	if err != nil {
		return err
	}
	if string(data) != string(t.Data) {
		return fmt.Errorf("tile bytes differ")
	}
	return nil
}

func run(in input) (out output, err error) {
	var s store
	for i, leaf := range in.Leaves {
		more, err := tlog.StoredHashes(int64(i), leaf, s)
		if err != nil {
			return out, err
		}
		s = append(s, more...)
	}
	if in.Checkpoint != "" {
		out.Checkpoint = verdict(checkpoint(in, s))
	}
	for _, p := range in.Inclusion {
		root, err := tlog.TreeHash(p.Size, s)
		if err == nil {
			err = tlog.CheckRecord(hashes(p.Path), p.Size, root, p.Index, tlog.RecordHash(in.Leaves[p.Index]))
		}
		out.Inclusion = append(out.Inclusion, verdict(err))
	}
	for _, p := range in.Consistency {
		root, err := tlog.TreeHash(p.Size, s)
		if err != nil {
			return out, err
		}
		old, err := tlog.TreeHash(p.Old, s)
		if err == nil {
			err = tlog.CheckTree(hashes(p.Path), p.Size, root, p.Old, old)
		}
		out.Consistency = append(out.Consistency, verdict(err))
	}
	for _, t := range in.Tiles {
		out.Tiles = append(out.Tiles, verdict(checkTile(t, s)))
	}
	out.Roots = map[string][]byte{}
	for _, size := range in.Roots {
		var counted store
		for i := int64(0); i < size; i++ {
			var leaf [4]byte
			binary.BigEndian.PutUint32(leaf[:], uint32(i))
			more, err := tlog.StoredHashes(i, leaf[:], counted)
			if err != nil {
				return out, err
			}
			counted = append(counted, more...)
		}
		root, err := tlog.TreeHash(size, counted)
		if err != nil {
			return out, err
		}
		out.Roots[strconv.FormatInt(size, 10)] = root[:]
	}
	if in.Sign != nil {
		signer, err := note.NewSigner(in.Sign.Secret)
		if err != nil {
			return out, err
		}
		signed, err := note.Sign(&note.Note{Text: in.Sign.Text}, signer)
		if err != nil {
			return out, err
		}
		out.Signed = string(signed)
	}
	return out, nil
}

func main() {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	out, err := run(in)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(2)
	}
}
