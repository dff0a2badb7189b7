"""The nouns of Remit: frozen values and pure functions; standard library only, no clock, no disk, no socket."""
