"""What the parts of Modelyard agree on: pydantic and the standard library only, no I/O, no clock."""
