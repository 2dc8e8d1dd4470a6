"""The only room that reaches devices: connect, move, expose, stream, make safe."""
