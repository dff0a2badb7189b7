"""The proof: tree, checkpoints, commitments, and a verifier that shares no code with the rest."""
