"""The token bucket under its former name; `antiphon.runtime.token_bucket` has it."""

from antiphon.runtime.token_bucket import TokenBucket as TokenBucket
