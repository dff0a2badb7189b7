"""The nouns of Remit: frozen values and pure functions over them; standard library only, no clock, no disk, no socket."""
