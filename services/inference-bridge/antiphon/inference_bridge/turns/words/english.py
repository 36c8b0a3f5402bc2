"""English: `WordRules`. Hums as the recogniser writes them are in `turns.backchannel`, for all languages."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import WordRules, phrases, word_set

ENGLISH: Final = WordRules(
    sounds=word_set("um er erm wow"),
    agreement=word_set(
        "yeah yep yes yup yea okay ok right sure alright good great nice cool fine exactly indeed true perfect "
        "absolutely totally understood lovely"
    ),
    agreement_phrases=phrases(
        """
        i see
        got it
        go on
        of course
        all right
        i know
        makes sense
        that makes sense
        i understand
        sounds good
        fair enough
        very good
        very well
        that's right
        that's true
        """
    ),
    unfinished=word_set(
        "and but or so because since if when while that which who the a an my your his her our their this to "
        "for of in on at with from by about is are was were am be like um uh er erm hmm well maybe please "
        "than as into i we you they he she it's i'm i'd i'll i've you're we're they're there's let's "
        "these those some any every each onto between until till whose whether although though unless "
        "mr mrs ms dr prof has have had do does did can could will would should must might where how why what "
        "please"
    ),
    unfinished_phrases=phrases(
        """
        i want
        i need
        i would need
        i think
        i guess
        i mean
        i was wondering
        i'm looking
        you know
        kind of
        sort of
        let me see
        let me think
        hold on
        one of
        """
    ),
    finished_phrases=phrases(
        """
        i think so
        hope so
        think so
        guess so
        you like
        i am
        i'm here
        it is
        it was
        that is
        that was
        we are
        they are
        he is
        she is
        i do
        i did
        i don't
        we do
        they do
        i have
        i can
        i could
        i will
        i would
        i should
        you do
        you did
        you can
        come in
        i was
        i must
        as well
        all of it
        i know her
        i know them
        """
    ),
    may_end=word_set("please you about that this"),
    may_end_question=word_set(
        "what where how why who in on at with from by for of to is are was were do does did can could will "
        "would should have has had be so like it her his our their then maybe these those since well we they "
        "he she i though through"
    ),
    presence=phrases(
        """
        hello
        hi
        hey
        hey there
        hello there
        hi there
        are you there
        are you still there
        you there
        you still there
        still there
        are you with me
        are you still with me
        is anyone there
        is anybody there
        is someone there
        is somebody there
        anyone there
        anybody there
        anyone
        anybody
        can you hear me
        can you still hear me
        do you hear me
        do you still hear me
        did you hear me
        did you get that
        did you hear that
        have i lost you
        did i lose you
        did we get cut off
        are we still connected
        are you still on the line
        are you on the line
        are you listening
        are you still listening
        what's going on
        what is going on
        what happened
        is this thing on
        is this working
        are you working on it
        are you thinking
        still thinking
        i'm waiting
        i am waiting
        i'm still waiting
        i am still waiting
        """
    ),
    invitations=phrases(
        """
        say yes
        saying yes
        say no
        say okay
        saying okay
        say stop
        say go ahead
        say it
        say that
        just say
        please say
        please confirm
        to confirm
        confirm that
        confirm with
        please tell
        tell me
        let me know
        please answer
        please repeat
        please choose
        please spell
        please give me
        give me your
        i need your
        i need to know
        i'd like to know
        go ahead
        if that's okay
        if that is okay
        if that's right
        if that is right
        if that's correct
        if you agree
        if you like
        yes or no
        """
    ),
)
