"""What several benches use: statistics, processes and what the kernel counts of them, cores, ports, words, loudness."""
