"""Usage, cost and limits of WhatsApp and LLM assistants, per client company."""
