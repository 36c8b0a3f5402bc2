"""`python -m antiphon.demo.concierge`: serves the clinic's front desk as a text agent."""

from antiphon.demo.concierge.agent import agent

if __name__ == "__main__":
    agent.run()
