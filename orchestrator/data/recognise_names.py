"""Names that columns of public data sets have, by what they hold; as `Columns.plain` writes names."""

from __future__ import annotations

import re

QUESTIONS = ("prompt", "question", "query", "instruction", "input", "user", "request", "problem", "source")
ANSWERS = (
    *("completion", "response", "answer", "answers", "output", "assistant", "reply", "solution"),
    *("target", "summary", "highlights", "chosen"),
)
CONTEXTS = ("context", "passage", "background", "documents", "schema", "code")
SYSTEMS = ("system", "systemprompt", "systemmessage")
TOOLS = ("tools", "functions", "tooldefinitions", "availabletools")
INPUTS = (
    *("subject", "title", "headline", "body", "text", "message", "description", "content", "sentence"),
    *("sentence1", "sentence2", "premise", "hypothesis", "comment", "review", "utterance", "tweet"),
    *("email", "document", "article", "dialogue", "conversation", "abstract"),
)
LABELS = (
    *("label", "labels", "labeltext", "category", "class", "intent", "sentiment", "queue", "topic"),
    *("department", "team", "priority", "emotion", "tag", "genre", "stance", "severity", "type"),
)
SPEAKERS = ("role", "from", "speaker", "author", "sender", "who", "actor", "participant")
SAID = ("content", "value", "text", "message", "utterance", "body", "said", "turn", "msg")
CONVERSATION_ID = re.compile(
    r"(conversation|dialog(ue)?|session|thread|chat|conv|ticket|case|call)(s?(id|no|number|key))?$"
)
ORDERS = (
    *("turn", "turnid", "turnindex", "turnnumber", "order", "position", "step", "index", "messageindex"),
    *("messageid", "utteranceidx", "seq", "sequence", "timestamp", "createdat", "time", "date", "sentat"),
)
TEXTS = ("text", "content", "document", "article", "body", "raw", "code", "story", "passage")
