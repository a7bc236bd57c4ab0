"""A PostgreSQL and an S3 server of one's own, and sample data: what the demo runs on."""
