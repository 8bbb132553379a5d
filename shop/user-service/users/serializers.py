"""What comes in and goes out as JSON."""

from typing import Any, ClassVar

from bandstand.api import ChangesOnlySerializer, IntegerField
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers

from users.models import User, UserProfile, normalise_email
from users.validators import normalise_phone_number, validate_address, validate_phone_number


class EmailField(serializers.EmailField):
    """An e-mail address in the form in which it is stored."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(validate_address)

    def to_internal_value(self, data: Any) -> str:
        return normalise_email(super().to_internal_value(data))


class PhoneNumberField(serializers.CharField):
    """A phone number in international form; the separators that people type are removed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(validate_phone_number)

    def to_internal_value(self, data: Any) -> str:
        return normalise_phone_number(super().to_internal_value(data))


class PasswordField(serializers.CharField):
    """A password as it was typed: never trimmed, never sent back."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_only=True, trim_whitespace=False, style={"input_type": "password"}, **kwargs)


class UserSerializer(ChangesOnlySerializer[Any]):
    """A user as the API shows one, and what users may change of themselves."""

    examples: ClassVar[dict[str, Any]] = {
        "username": "ada", "first_name": "Ada", "last_name": "Lovelace", "phone_number": "+442079460000",
        "date_of_birth": "1990-12-10", "is_staff": False, "password": "correct-horse-battery",
    }  # fmt: skip

    phone_number = PhoneNumberField(required=False, allow_blank=True, max_length=32)

    class Meta:
        model = User
        fields: tuple[str, ...] = (
            "id", "email", "username", "first_name", "last_name", "phone_number", "date_of_birth",
            "is_verified", "is_active", "is_staff", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = (
            "email",
            "is_verified",
            "is_active",
            "is_staff",
            "created_at",
            "updated_at",
        )

    def validate_username(self, username: str) -> str:
        username = User.normalize_username(username)
        if User.objects.with_username(username).exclude(pk=getattr(self.instance, "pk", None)).exists():
            raise serializers.ValidationError("This username is taken.", code="unique")
        return username


class RegistrationSerializer(UserSerializer):
    """What somebody tells to become a user."""

    email = EmailField(max_length=254)
    password = PasswordField(max_length=128)

    class Meta(UserSerializer.Meta):
        fields = ("email", "username", "password", "first_name", "last_name", "phone_number", "date_of_birth")
        read_only_fields = ()

    def validate_email(self, email: str) -> str:
        if User.objects.filter(email=email).exists():
            raise serializers.ValidationError("This address is registered.", code="unique")
        return email

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        described = {name: value for name, value in attrs.items() if name != "password"}
        check_password_strength(attrs["password"], User(**described), field="password")
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        return User.objects.create_user(**validated_data)

    def to_representation(self, instance: User) -> dict[str, Any]:
        return UserSerializer(instance, context=self.context).data


class ProfileSerializer(ChangesOnlySerializer[Any]):
    """What people tell about themselves. A field that the request leaves out keeps its value."""

    examples: ClassVar[dict[str, Any]] = {
        "bio": "Writes programs.", "location": "London", "avatar": "https://example.com/ada.png",
        "preferences": {"newsletter": False},
    }  # fmt: skip

    class Meta:
        model = UserProfile
        fields = ("bio", "location", "website", "avatar", "preferences", "updated_at")
        read_only_fields = ("updated_at",)


class CredentialsSerializer(serializers.Serializer[Any]):
    """An e-mail address and a password. Whether they could be anybody's is not told apart from whether they are."""

    examples: ClassVar[dict[str, Any]] = {"email": "ada@example.com", "password": "correct-horse-battery"}

    email = serializers.CharField(max_length=1024)
    password = PasswordField(max_length=1024)
    device = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=1024,
        write_only=True,
        help_text="What the last sign-in on this device answered as `device`: with it no guesses lock you out.",
    )


class PasswordChangeSerializer(serializers.Serializer[Any]):
    """The old password proves that it is not somebody at a forgotten screen; the new one must be a good one."""

    examples: ClassVar[dict[str, Any]] = {
        "old_password": "correct-horse-battery", "new_password": "battery-staple-horse",
    }  # fmt: skip

    old_password = PasswordField(max_length=1024)
    new_password = PasswordField(max_length=128)

    def validate_old_password(self, password: str) -> str:
        if not self.context["request"].user.check_password(password):
            raise serializers.ValidationError("This is not your password.", code="wrong_password")
        return password

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_password_strength(attrs["new_password"], self.context["request"].user, field="new_password")
        return attrs


class RefreshSerializer(serializers.Serializer[Any]):
    """A refresh token."""

    examples: ClassVar[dict[str, Any]] = {"refresh": "x5gTz0lq…"}

    refresh = serializers.CharField(max_length=1024)


class TokensSerializer(serializers.Serializer[Any]):
    """What a client holds after signing in."""

    examples: ClassVar[dict[str, Any]] = {"token": "eyJhbGciOi…", "refresh": "x5gTz0lq…"}

    token = serializers.CharField(source="access", help_text="Send it as `Authorization: Bearer …`.")
    refresh = serializers.CharField(help_text="Exchange it once at `token/refresh/` before the token expires.")
    user = UserSerializer()


class SignedInSerializer(TokensSerializer):
    """The tokens of a sign-in with a password, and the device token for the next one."""

    device = serializers.CharField(
        help_text="Keep it on this device, and send it with the next sign-in. It gives no access."
    )


class OrderPageSerializer(serializers.Serializer[Any]):
    """A page of orders, each as the order service describes it."""

    examples: ClassVar[dict[str, Any]] = {
        "count": 1, "next": None, "previous": None, "results": [{"status": "confirmed", "total_amount": "99.80"}],
    }  # fmt: skip

    count = IntegerField(min_value=0)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = serializers.ListField(child=serializers.DictField())


def check_password_strength(password: str, user: User, *, field: str) -> None:
    """Refuse a password that Django's validators find weak for ``user``.

    Raises:
        ValidationError: with each reason, under ``field``.
    """
    try:
        validate_password(password, user)
    except DjangoValidationError as error:
        raise serializers.ValidationError(
            {field: serializers.as_serializer_error(error)["non_field_errors"]}
        ) from error
