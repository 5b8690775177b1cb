"""Slack: two translations and a client. The only importer of slack_sdk and slack_bolt."""
