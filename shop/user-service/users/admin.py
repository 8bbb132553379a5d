"""What staff sees of users. Passwords and tokens are never shown."""

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.db.models import QuerySet
from django.http import HttpRequest

from users.models import TokenFamily, User, UserProfile


class UserCreationForm(AdminUserCreationForm):
    """The form that adds a user."""

    class Meta:
        model = User
        fields = ("email", "username")


class ProfileInline(admin.StackedInline):
    """The profile, which comes and goes with its user."""

    model = UserProfile
    can_delete = False

    def get_extra(self, request: HttpRequest, obj: User | None = None, **kwargs: object) -> int:
        return 0

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """Users by e-mail address."""

    add_form = UserCreationForm
    list_display = ("email", "username", "first_name", "last_name", "is_verified", "is_active", "is_staff")
    list_filter = ("is_active", "is_verified", "is_staff")
    search_fields = ("email", "username", "first_name", "last_name")
    ordering = ("-created_at",)
    readonly_fields = ("id", "last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("id", "email", "username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "phone_number", "date_of_birth")}),
        ("Rights", {"fields": ("is_verified", "is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Times", {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "username", "usable_password", "password1", "password2")}),)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[type[admin.StackedInline], ...]:
        # Saving a new user makes the profile, so there is none to fill in before.
        return (ProfileInline,) if obj else ()


@admin.register(TokenFamily)
class TokenFamilyAdmin(admin.ModelAdmin):
    """Sign-ins, to look at and to end."""

    list_display = ("user", "created_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    actions: ClassVar = ["end"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TokenFamily | None = None) -> bool:
        return False

    @admin.action(description="End the selected sign-ins", permissions=["delete"])
    def end(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> None:
        ended = TokenFamily.objects.filter(pk__in=queryset.values("pk")).revoke()
        self.message_user(request, f"{ended} sign-in(s) ended.")
