"""The models: where they come from, the threads they run in, workers in other processes.

Voice activity and smart-turn are here; `stt` and `tts` hold the classes of the other two.
"""
