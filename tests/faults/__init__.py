"""What is killed in the middle of ingest: nothing acknowledged is lost, nothing counts twice."""
