"""What a run will need and cost, estimated before it starts: memory, time, money."""
