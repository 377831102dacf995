"""A simulated EVSE: it plays whole sessions over the topics that real hardware uses (contract 2 and 4)."""
