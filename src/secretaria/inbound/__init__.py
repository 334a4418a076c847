"""Provider payloads to core events; pure."""
