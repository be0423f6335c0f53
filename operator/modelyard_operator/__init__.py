"""The Modelyard operator: watches the custom resources and makes the cluster match them."""
