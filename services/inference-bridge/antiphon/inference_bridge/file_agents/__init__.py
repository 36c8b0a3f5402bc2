"""Agents that a folder of TOML files describes, one a file: `desk.toml` is the agent `desk`.

    folder -> texts -> reader -> definitions, or mistakes with their lines -> profiles -> agents of calls

`definition` says what a file may hold, `reader` checks texts (both pure, and used by `antiphon agents check`), `folder`
watches the files, and `file_agents` is the source that a bridge takes calls from.
"""
