"""The one address."""

from django.urls import path

from naive.views import topup

urlpatterns = [path("v1/topups", topup)]
