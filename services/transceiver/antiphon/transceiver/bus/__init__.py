"""NATS: publishing in batches, what a session publishes, the announcement of this transceiver.

Imports `session.output` and `net.udp_socket`.
"""
