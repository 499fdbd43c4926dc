"""What the doors for machines share: keys, limits, strict JSON, problems, the batcher and the lane for hot routes."""
