"""For any project: promises by id, the report about them, latency gates, and charts."""
