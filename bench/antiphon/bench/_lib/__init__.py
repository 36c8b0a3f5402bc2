"""What several benches use: statistics, processes."""
