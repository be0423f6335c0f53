"""Programs for people who work on Modelyard; nothing here is shipped."""
