"""The HTTP door: the decision API and the administration of the registry."""
