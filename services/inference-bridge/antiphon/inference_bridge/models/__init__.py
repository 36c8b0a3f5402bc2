"""The models: where they come from, the threads they run in, workers in other processes.

Imports `stt`, `tts`, `input` and `turns` for the models themselves.
"""
