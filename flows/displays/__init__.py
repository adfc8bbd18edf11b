"""How a command in this process shows what happens while it happens."""
