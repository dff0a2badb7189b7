"""The verbs of Remit, one a file: each is one unit of work over domain rows, session state and events."""
