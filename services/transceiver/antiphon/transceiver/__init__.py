"""WebRTC's far end: ICE, DTLS, SRTP and Opus on one side, PCM frames and events on NATS on the other."""
