"""The side that faces the services: endpoints and their pools, the choice among them, the protocols they speak."""
