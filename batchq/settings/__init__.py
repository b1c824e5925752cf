"""What an app has set: read once, checked at once. Accounts, and whose a call is."""
