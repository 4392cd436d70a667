"""Small templates, one per feature of the language: (name, template, variables)."""
FEATURES = [
    ("text", "plain text\n", {}),
]
