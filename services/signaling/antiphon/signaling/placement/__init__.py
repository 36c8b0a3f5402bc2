"""Where a call goes: transceivers and relays by their announcements, the `open` request, answers.

Imports `http.errors` and nothing of `protocols`.
"""
