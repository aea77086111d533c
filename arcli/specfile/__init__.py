"""Read the YAML file: text to nodes with places, to values, to a valid ``Spec``."""
