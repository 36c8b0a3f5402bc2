"""What a language's words say about a turn: signs of listening, unfinished sentences, "are you there?". Data.

One module per language holds its `WordRules`; `turns.backchannel` reads them.
"""
