"""What tests, chaos runs and benchmarks share: servers and processes, no test logic."""
