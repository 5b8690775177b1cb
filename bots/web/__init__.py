"""The HTTP edge: the API, its streams, health and metrics. The only room with statuses."""
