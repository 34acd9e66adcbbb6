"""Tells people what a run did: by a webhook, and by a command."""
