"""A call from the command line: its HTTP requests, its WebRTC client, what it hears."""
