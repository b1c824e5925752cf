"""`python -m examples.shop`"""

from examples.shop.tasks import answer

if __name__ == "__main__":
    print(answer.delay("How long does it take to get a refund?").get(timeout=600))
