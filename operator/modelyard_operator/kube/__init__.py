"""The edge to the API server: everything that is asked of it goes through here."""
