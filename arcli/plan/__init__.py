"""Make a spec's job ready to be sent: its function or command, its constants, its numbered items."""
