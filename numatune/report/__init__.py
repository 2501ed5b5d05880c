"""All text: `formats` names what writes audits, plans and runs; nothing here reads a file or prints."""
