from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class User(AbstractBaseUser):
    email = models.EmailField(unique=True)
    display_name = models.CharField(max_length=64)

    objects = BaseUserManager()

    USERNAME_FIELD = "email"

    class Meta:
        db_table = "users"
