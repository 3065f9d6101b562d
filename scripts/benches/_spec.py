"""A spec as teams write them, whose data nobody reads."""

from __future__ import annotations

SPEC = """\
name: triage
base_model: acme/base@0123abc
dataset: {source: "hf://acme/tickets/default/train", validation: 0.1}
mapping:
  messages:
    - {role: system, content: "You route support tickets."}
    - {role: user, content: "{{ subject | trim }}\\n\\n{{ body | trim }}"}
    - {role: assistant, content: "{{ queue }}"}
"""
