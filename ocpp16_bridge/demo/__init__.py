"""A whole charge point to look at: private broker, small CSMS, the daemon, a simulated EVSE."""
